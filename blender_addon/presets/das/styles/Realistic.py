import bpy
das = bpy.context.scene.das

das.style = 'photorealistic, detailed materials, natural light'
