"""Is this machine, and this bundle on it, what it should be?"""

__all__ = ["benchmark", "doctor", "verify"]
