import bpy
das = bpy.context.scene.das

das.prompt = 'Glass, ceramic and fruit on a wooden table by a window, soft morning light, sharp detail'
das.negative_prompt = 'blurry, low quality, flicker, distorted, watermark, text'
