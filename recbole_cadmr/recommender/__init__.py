"""A trained model, asked: lists for people, by a checkpoint or an export."""
