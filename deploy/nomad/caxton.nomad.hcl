# Three nodes as a job of Nomad, one a machine. Secrets lie on each client below /etc/caxton, made by
# `caxton security` (docs/how-to/operate.md); the host volume `caxton` keeps what must not be lost.
job "caxton" {
  datacenters = ["*"]
  type        = "service"

  update {
    max_parallel     = 1
    min_healthy_time = "10s"
    healthy_deadline = "2m"
  }

  group "node" {
    count = 3

    constraint {
      distinct_hosts = true
    }

    network {
      mode = "host"
      port "http" { static = 8080 }
      port "grpc" { static = 50051 }
      port "gossip" { static = 7946 }
    }

    volume "data" {
      type   = "host"
      source = "caxton"
    }

    service {
      name     = "caxton"
      port     = "http"
      address  = "127.0.0.1" # where HTTP listens: there is no login yet
      provider = "nomad"
      check {
        type     = "http"
        path     = "/health"
        interval = "10s"
        timeout  = "5s"
      }
    }

    task "caxton" {
      driver       = "docker"
      # A client of Nomad allows 30 s unless its `max_kill_timeout` says more: set it to 60s.
      kill_timeout = "50s"

      config {
        image           = "caxton:latest"
        network_mode    = "host"
        readonly_rootfs = true
        cap_drop        = ["all"]
        volumes         = ["/etc/caxton:/etc/caxton:ro"]
        # The root is read-only.
        mount {
          type     = "tmpfs"
          target   = "/tmp"
          readonly = false
          tmpfs_options {
            size = 268435456
          }
        }
        args = [
          "--name", "${node.unique.name}",
          "--http", "127.0.0.1:8080",
          "--grpc", "${attr.unique.network.ip-address}:50051",
          "--gossip", "${attr.unique.network.ip-address}:7946",
          "--expect", "3",
        ]
      }

      env {
        CAXTON_CLUSTER__PEERS      = "caxton-1.internal:7946,caxton-2.internal:7946,caxton-3.internal:7946"
        CAXTON_CLUSTER__KEY_FILE   = "/etc/caxton/gossip.key"
        CAXTON_SECURITY__CA_FILE   = "/etc/caxton/ca.crt"
        CAXTON_SECURITY__CERT_FILE = "/etc/caxton/node.crt"
        CAXTON_SECURITY__KEY_FILE  = "/etc/caxton/node.key"
      }

      volume_mount {
        volume      = "data"
        destination = "/var/lib/caxton"
      }

      resources {
        cpu    = 1000
        memory = 1024
      }
    }
  }
}
