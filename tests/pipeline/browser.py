"""A page in Chromium, by its debugging protocol: what it asks for, what it complains of."""

import asyncio
import json
import shutil
import subprocess
from contextlib import asynccontextmanager

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PROGRAM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync")


class Page:
    """`requests` has the URLs that were asked for, `complaints` the errors and warnings."""

    def __init__(self, socket):
        self.socket, self.number, self.answers = socket, 0, {}
        self.requests, self.complaints, self.loaded = [], [], asyncio.Event()

    async def listen(self):
        async for message in self.socket:
            told = json.loads(message.data)
            about = told.get("params", {})
            if "id" in told:
                self.answers[told["id"]].set_result(told)
            elif told["method"] == "Network.requestWillBeSent":
                self.requests.append(about["request"]["url"])
            elif told["method"] == "Page.loadEventFired":
                self.loaded.set()
            elif told["method"] == "Log.entryAdded":
                self.complaints.append(about["entry"]["text"])
            elif told["method"] == "Runtime.exceptionThrown":
                self.complaints.append(about["exceptionDetails"]["text"])
            elif told["method"] == "Runtime.consoleAPICalled" and about["type"] != "log":
                self.complaints.append(str(about["args"]))

    async def call(self, method, **arguments):
        self.number += 1
        self.answers[self.number] = asyncio.get_running_loop().create_future()
        await self.socket.send_json({"id": self.number, "method": method, "params": arguments})
        return (await self.answers[self.number])["result"]

    async def open(self, url):
        self.loaded.clear()
        await self.call("Page.navigate", url=url)
        await self.loaded.wait()
        await asyncio.sleep(1)  # what the page does after it

    async def run(self, code, leaves=False):
        """The value of a JavaScript expression; `leaves`: it opens another page."""
        self.loaded.clear()
        found = await self.call("Runtime.evaluate", expression=code, returnByValue=True)
        if leaves:
            await self.loaded.wait()
        return found["result"].get("value")


@asynccontextmanager
async def opened(folder, width=1280, dark=False):
    """A page of a browser that keeps its files in `folder`."""
    flags = [*FLAGS, "--remote-debugging-port=0", f"--user-data-dir={folder}"]
    process = subprocess.Popen([PROGRAM, *flags, "about:blank"], stderr=subprocess.DEVNULL)
    try:
        port = folder / "DevToolsActivePort"
        while not (port.exists() and port.read_text().count("\n")):
            await asyncio.sleep(0.05)
        address = f"http://127.0.0.1:{port.read_text().splitlines()[0]}"
        async with aiohttp.ClientSession() as session:
            pages = await (await session.get(f"{address}/json")).json()
            socket = next(p["webSocketDebuggerUrl"] for p in pages if p["type"] == "page")
            async with session.ws_connect(socket, max_msg_size=0) as connected:
                page = Page(connected)
                listening = asyncio.create_task(page.listen())
                for domain in ("Page", "Network", "Log", "Runtime"):
                    await page.call(f"{domain}.enable")
                size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
                await page.call("Emulation.setDeviceMetricsOverride", **size)
                scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
                await page.call("Emulation.setEmulatedMedia", features=[scheme])
                yield page
                listening.cancel()
    finally:
        process.terminate()
        process.wait()
