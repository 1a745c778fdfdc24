import bpy
das = bpy.context.scene.das

das.prompt = 'A polished metal robot moves in a bright workshop, brushed steel, tools in the background, cinematic'
das.negative_prompt = 'blurry, low quality, flicker, distorted, watermark, text'
