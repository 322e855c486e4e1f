"""HashiCorp serf's protocol, thin: enough for `serf members` to show our nodes properly."""
