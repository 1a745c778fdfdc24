import bpy
das = bpy.context.scene.das

das.style = 'photographed on 35 mm film, natural light, fine grain, shallow depth of field'
