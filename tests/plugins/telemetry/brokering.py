"""A broker of librdkafka's own in a process of its own, which can be frozen and killed; and a reader of its topic."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

TOPIC = "asahi_inference_events"
#: Made at once, or the first messages would wait for the topic.
_SERVE = f"""
import sys
from confluent_kafka import Producer
producer = Producer({{"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0}})
producer.list_topics("{TOPIC}", timeout=10)
(broker,) = producer.list_topics(timeout=10).brokers.values()
print(f"{{broker.host}}:{{broker.port}}", flush=True)
sys.stdin.read()
"""


class Broker:
    def __init__(self, process):
        self.process = process
        self.address = process.stdout.readline().strip()

    def freeze(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def read(self, wanted, seconds=15.0):
        """Messages from the beginning, until so many different ids were seen."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "test", "log_level": 0})
        partitions = consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        consumer.assign([TopicPartition(TOPIC, each, OFFSET_BEGINNING) for each in partitions])
        found, until = [], time.monotonic() + seconds
        while len({dict(each.headers())["id"] for each in found}) < wanted and time.monotonic() < until:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                found.append(message)
        consumer.close()
        return found


@contextmanager
def brokering():
    command = [sys.executable, "-c", _SERVE]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield Broker(process)
        finally:
            process.kill()
