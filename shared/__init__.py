"""What both processes must agree on. Never imports bpy, never torch."""
