"""The yaml files of settings, installed as ``recbole_cadmr.properties``."""
