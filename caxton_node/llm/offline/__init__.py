"""The provider that answers where no model is configured: rules, and it says so."""
