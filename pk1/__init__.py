from .sub import x
import builtins
builtins.gate()
y = sub.x
