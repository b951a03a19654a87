"""Settings: where they are declared, how they are checked, and the ``Config`` that RecBole reads."""
