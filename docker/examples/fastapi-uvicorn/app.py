"""A FastAPI application that starts its own server, so that $PORT needs no shell."""

import asyncio
import os

import uvicorn
from fastapi import FastAPI, Query

app = FastAPI()


@app.get("/")
async def hello():
    return {"hello": "FastAPI"}


@app.get("/slow")
async def slow(s: float = Query(2.0, ge=0.0, le=60.0)):
    print(f"fastapi: working for {s:g} s")
    await asyncio.sleep(s)
    return {"worked": s}


if __name__ == "__main__":
    uvicorn.run(app, host="0.0.0.0", port=int(os.environ.get("PORT", "8080")))
