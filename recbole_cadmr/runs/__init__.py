"""What a person asks for: train, evaluate, recommend, and a look at the installation."""
