from .frame import load as load
