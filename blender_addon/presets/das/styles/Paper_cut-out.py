import bpy
das = bpy.context.scene.das

das.style = 'layers of cut paper, paper texture, soft shadows between the layers'
