"""What runs agents: mailboxes, turns, supervision, and the deployment of definitions."""
