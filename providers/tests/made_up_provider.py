"""A provider on localhost for tests: a real HTTP server in a thread, which answers as it is told."""

import asyncio
import threading
from contextlib import contextmanager

from aiohttp import web


class MadeUpProvider:
    """Notes every message it is handed (`taken`, by our id) and how many it had at once (`most_at_once`).

    answer: called with the message's JSON in the server's thread. Returns (status, JSON) or (status, JSON, headers),
    "cut" to hang up without an answer, or a number of seconds to hang.
    """

    def __init__(self):
        self.taken, self.bodies, self.url = [], [], ""
        self.at_once = self.most_at_once = 0
        self.answer = lambda message: (200, {"Reference": f"ref-{len(self.taken)}"})

    async def handle(self, request):
        """Take one message."""
        message = await request.json()
        self.taken.append(message["cid"])
        self.bodies.append(message)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._answered(request, message)
        finally:
            self.at_once -= 1

    async def _answered(self, request, message):
        answer = await asyncio.to_thread(self.answer, message)
        if answer == "cut":
            request.transport.abort()
            return web.Response()
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return web.Response(status=500)
        status, content, headers = (*answer, {})[:3]
        return web.json_response(content, status=status, headers=headers)


@contextmanager
def made_up_provider():
    """Run one until the block ends."""
    provider, loop = MadeUpProvider(), asyncio.new_event_loop()
    application = web.Application()
    application.router.add_post("/", provider.handle)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    started = threading.Event()

    async def serve():
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        provider.url = "http://{}:{}/".format(*runner.addresses[0])
        started.set()

    def run():
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert started.wait(10)
        yield provider
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
