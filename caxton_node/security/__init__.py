"""Who a node is and how it proves it: certificates, keys, and the files that hold them."""
