"""What RecBole's own functions, called in a program of the user's, get from this package."""
