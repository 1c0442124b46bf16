"""The rotations of tensorflow-graphics, without the seconds that importing it takes."""

from tensorflow_graphics.util import export_api

# Each of its modules lists its public names by walking the call stack through all loaded modules: six seconds for the
# modules behind those below. The lists serve `from ... import *` alone.
_kept = export_api.get_functions_and_classes, export_api.get_modules
export_api.get_functions_and_classes = export_api.get_modules = list
try:
    from tensorflow_graphics.geometry.transformation import axis_angle, rotation_matrix_3d
finally:
    export_api.get_functions_and_classes, export_api.get_modules = _kept

__all__ = ["axis_angle", "rotation_matrix_3d"]
