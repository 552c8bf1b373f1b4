"""A flow whose middle step goes to Batch, once for each way in which a job can end."""

import os
import time

from metaflow import FlowSpec, batch, current, retry, step

ENDINGS = ["success", "exception", "exit 75", "spot"]
WAITING = "waiting for the end of its machine"


class ToyFlow(FlowSpec):
    @step
    def start(self):
        self.endings = ENDINGS
        self.next(self.work, foreach="endings")

    @batch(cpu=1, memory=2_000)
    @retry(times=2, minutes_between_retries=0)
    @step
    def work(self):
        self.ending = self.input
        self.job = os.environ["AWS_BATCH_JOB_ID"]
        if current.retry_count == 0:
            if self.ending == "exception":
                raise RuntimeError("the first attempt fails")
            if self.ending == "exit 75":
                os._exit(75)
            if self.ending == "spot":
                print(WAITING, flush=True)
                time.sleep(600)
        self.attempt = current.retry_count
        self.next(self.join)

    @step
    def join(self, inputs):
        self.by_ending = {i.ending: (i.attempt, i.job) for i in inputs}
        self.next(self.end)

    @step
    def end(self):
        current.run.add_tag("seen")


if __name__ == "__main__":
    ToyFlow()
