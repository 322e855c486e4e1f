"""Generated from `proto/caxton_cluster/metadata/wire`: etcd's messages. Never edited."""
