"""How the program is deployed, and the documents made for those who do."""
