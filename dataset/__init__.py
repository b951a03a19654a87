"""The embedded data set, installed as ``recbole_cadmr.embedded``; prepared sets lie beside it in a checkout."""
