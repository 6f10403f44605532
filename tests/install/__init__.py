"""What somebody gets who installs cellway, without this repository."""
