"""What actions and distributors of SlipStream's job engine import, so that they run here as they are.

Only what such files use is here. `slipstream` itself is a namespace: `slipstream.api` may be installed beside this.
"""
