"""An HTTP server for tests: python3 http_server.py FOLDER.

Serves the files of FOLDER on a free port of 127.0.0.1 and prints the port.
The first component of the path says how:
  /ok/F        as a good server does, with Range
  /norange/F   always the whole file
  /cut/F       drops the connection after half of what is asked for, the first
               two times
  /cut_norange/F  both: cuts twice, never honours Range
  /stall/F     sends half of the file and then nothing, the first time
  /busy/F      503 the first two times
  /down/F      503 always
  /forbidden/F 403
  /redirect/F  302 to /ok/F
  /escape/F    302 to a file:// URL
  /log         the requests so far, one "PATH RANGE" a line
"""

import http.server
import os
import re
import sys
import threading
import time

FOLDER = sys.argv[1]
LOCK = threading.Lock()
LOG = []


class Handler(http.server.BaseHTTPRequestHandler):

  def log_message(self, *args):
    pass

  def give(self, status, body, headers=(), send=None, stall=False):
    self.send_response(status)
    for name, value in headers:
      self.send_header(name, value)
    self.send_header("Content-Length", str(len(body)))
    self.end_headers()
    self.wfile.write(body[:send])
    if stall:
      self.wfile.flush()
      time.sleep(600)
    self.close_connection = True

  def do_GET(self):
    if self.path == "/log":
      with LOCK:
        self.give(200, "".join(LOG).encode())
      return
    wanted = self.headers.get("Range", "-")
    with LOCK:
      LOG.append(f"{self.path} {wanted}\n")
      times = sum(line.startswith(self.path + " ") for line in LOG)
    _, mode, name = self.path.split("/", 2)
    if mode == "down" or (mode == "busy" and times <= 2):
      return self.give(503, b"busy")
    if mode == "forbidden":
      return self.give(403, b"no")
    if mode == "redirect":
      return self.give(302, b"moved", [("Location", f"/ok/{name}")])
    if mode == "escape":
      return self.give(
          302, b"moved", [("Location", f"file://{FOLDER}/{name}")])
    try:
      with open(os.path.join(FOLDER, name), "rb") as file:
        body = file.read()
    except OSError:
      return self.give(404, b"none")
    status, headers = 200, []
    match = re.fullmatch(r"bytes=(\d+)-", wanted)
    if match and mode not in ("norange", "cut_norange"):
      first = int(match.group(1))
      if first >= len(body):
        return self.give(
            416, b"", [("Content-Range", f"bytes */{len(body)}")])
      status = 206
      headers = [("Content-Range",
                  f"bytes {first}-{len(body) - 1}/{len(body)}")]
      body = body[first:]
    cut = mode.startswith("cut") and times <= 2
    stall = mode == "stall" and times == 1
    half = len(body) // 2 if cut or stall else None
    self.give(status, body, headers, half, stall)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
