"""Starts the image in a container, as a test of a service would, and reads a page of it."""

import time
import urllib.error
import urllib.request

from testcontainers.core.container import DockerContainer

with DockerContainer("app:1").with_command("httpd -f -p 80 -h /").with_exposed_ports(80) as web:
    address = f"http://{web.get_container_host_ip()}:{web.get_exposed_port(80)}/hello"
    for attempt in range(50):
        try:
            with urllib.request.urlopen(address) as reply:
                print("Testcontainers read:", reply.read().decode().strip())
            break
        except (urllib.error.URLError, ConnectionError):
            if attempt == 49:
                raise
            time.sleep(0.2)
