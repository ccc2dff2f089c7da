"""A private RabbitMQ whose management plugin is enabled: Debian's package ships it."""

from __future__ import annotations

from pathlib import Path

from tests.broker import Node, free_ports

__all__ = ["ManagedNode"]


class ManagedNode(Node):
    """See `Node`. The plugin listens at `management_url`, for the same users."""

    def __init__(self, folder: Path, scripts: Path, certificates: Path) -> None:
        super().__init__(folder, scripts, certificates)
        (port,) = free_ports(1)
        self.management_url = f"http://127.0.0.1:{port}"
        (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        with (folder / "rabbitmq.conf").open("a") as conf:
            conf.write(f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n")
            conf.write("collect_statistics_interval = 500\n")

    def set_memory_limit(self, share: float) -> None:
        """Let the node use this share of the machine's memory; a tiny one blocks who publishes, 0.4 is usual."""
        self.ctl("eval", f"vm_memory_monitor:set_vm_memory_high_watermark({share:.8f}).")
