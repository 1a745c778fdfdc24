import bpy
das = bpy.context.scene.das

das.style = 'ink outlines and watercolour washes on rough paper'
