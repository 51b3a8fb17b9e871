"""How messages of alerts leave: as webhooks, as e-mail, into a command."""
