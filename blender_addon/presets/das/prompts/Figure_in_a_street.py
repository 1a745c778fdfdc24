import bpy
das = bpy.context.scene.das

das.prompt = 'A dancer moves through a sunlit old town street, cobblestones, warm afternoon light, cinematic'
das.negative_prompt = 'blurry, low quality, flicker, distorted, watermark, text'
