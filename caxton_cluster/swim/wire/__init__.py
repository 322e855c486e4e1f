"""HashiCorp memberlist's wire format: bytes on one side, values on the other."""
