"""Fetch many URLs at once on asyncio: by httpx, or by aiohttp.

    geventjob submit fetch_all --payload '{"urls": ["https://example.org/"], "library": "aiohttp"}' --wait

The job's output has the size of each answer in bytes. Install the library beside geventjob.
"""

import asyncio

from geventjob import action


@action("fetch_all", timeout=120, retries=3)
async def fetch_all(job):
    fetch = by_aiohttp if job.payload.get("library") == "aiohttp" else by_httpx
    sizes = {}
    async for url, size in fetch(job.payload["urls"]):
        sizes[url] = size
        await job.aset_progress(100 * len(sizes) / len(job.payload["urls"]))
    return sizes


async def by_httpx(urls):
    import httpx

    async with httpx.AsyncClient(timeout=30) as client:

        async def size(url):
            answer = await client.get(url)
            answer.raise_for_status()
            return url, len(answer.content)

        for done in asyncio.as_completed([size(url) for url in urls]):
            yield await done


async def by_aiohttp(urls):
    import aiohttp

    async with aiohttp.ClientSession(raise_for_status=True, timeout=aiohttp.ClientTimeout(30)) as session:

        async def size(url):
            async with session.get(url) as answer:
                return url, len(await answer.read())

        for done in asyncio.as_completed([size(url) for url in urls]):
            yield await done
