import bpy
das = bpy.context.scene.das

das.style = 'clay animation, hand-made figures, visible fingerprints, soft studio light'
