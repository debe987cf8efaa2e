#!/usr/bin/env python3
"""Opens a report in headless Chromium and looks at what a reader would meet.

Skipped, with a message, where Chromium is not installed. With a folder as
argument the screenshots are left there:
    report_browser_test.py FOLDER
"""

import base64
import fcntl
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

# Of tools/report/example_report.h.
NUM_PAPERS = 4
NUM_CLAIMS = 350
HOSTILE_TITLE = ('Attention <script>alert("title")</script> & `Markup` | '
                 'Considered *Harmful*')

WIDTHS = (360, 800, 1200)
# A cold start on a busy machine takes seconds; a hang is not waited out.
TIMEOUT_SECONDS = 60

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
SCREENSHOTS = None

# The contrast of WCAG 2.1 between an element's colour and the nearest opaque
# background behind it, smallest first.
CONTRAST_SCRIPT = r"""
(() => {
  const rgb = (css) => css.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => {
      c /= 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const background = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = rgb(getComputedStyle(e).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return rgb(getComputedStyle(document.body).backgroundColor);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim()) continue;
    if (element.closest('script, style, title, [hidden], .visually-hidden'))
      continue;
    const style = getComputedStyle(element);
    const color = rgb(element.closest('svg') ? style.fill : style.color);
    const [a, b] = [luminance(color), luminance(background(element))];
    found.push({
      contrast: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05),
      text: walker.currentNode.data.trim().slice(0, 40),
      where: element.tagName + '.' + element.getAttribute('class'),
    });
  }
  found.sort((x, y) => x.contrast - y.contrast);
  return {
    lowest: found[0],
    body: getComputedStyle(document.body).backgroundColor,
    count: found.length,
  };
})()
"""


class Browser:
  """Chromium, driven by the DevTools protocol over a pair of pipes."""

  def __init__(self, profile):
    # The pipes must not be on descriptors 3 and 4, where Chromium wants them,
    # before the shell puts them there.
    def pipe():
      return [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in os.pipe()]
    to_read, self._to = pipe()
    self._from, from_write = pipe()
    # Chromium makes a socket in TMPDIR, whose path may have 107 bytes: a test's
    # own folder lies deeper.
    self._sockets = tempfile.mkdtemp(dir='/tmp')
    environment = dict(os.environ, HOME=profile, XDG_CONFIG_HOME=profile,
                       XDG_CACHE_HOME=profile, TMPDIR=self._sockets)
    self._log = open(os.path.join(profile, 'chromium.log'), 'w+')
    self._process = subprocess.Popen(
        ['bash', '-c', f'exec "$@" 3<&{to_read} 4>&{from_write}', 'chromium',
         CHROMIUM, '--headless=new', '--no-sandbox', '--disable-gpu',
         '--disable-dev-shm-usage', '--no-first-run', '--hide-scrollbars',
         '--disable-background-networking', '--disable-component-update',
         '--remote-debugging-pipe', f'--user-data-dir={profile}/profile',
         'about:blank'],
        pass_fds=(to_read, from_write), env=environment,
        stdout=self._log, stderr=self._log)
    os.close(to_read)
    os.close(from_write)
    self._buffer = b''
    self._next_id = 0
    self._session = None
    self.events = []

  def close(self):
    os.close(self._to)
    self._process.terminate()
    try:
      self._process.wait(10)
    except subprocess.TimeoutExpired:
      self._process.kill()
      self._process.wait()
    os.close(self._from)
    self._log.close()
    shutil.rmtree(self._sockets, ignore_errors=True)

  def _read(self):
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while b'\0' not in self._buffer:
      ready, _, _ = select.select([self._from], [], [],
                                  max(0, deadline - time.monotonic()))
      chunk = os.read(self._from, 1 << 20) if ready else b''
      if not chunk:
        self._log.seek(0)
        raise RuntimeError('Chromium does not answer:\n' + self._log.read())
      self._buffer += chunk
    message, self._buffer = self._buffer.split(b'\0', 1)
    return json.loads(message)

  def call(self, method, **params):
    self._next_id += 1
    message = {'id': self._next_id, 'method': method, 'params': params}
    if self._session:
      message['sessionId'] = self._session
    os.write(self._to, json.dumps(message).encode() + b'\0')
    while True:
      answer = self._read()
      if answer.get('id') == self._next_id:
        if 'error' in answer:
          raise RuntimeError(f'{method}: {answer["error"]}')
        return answer['result']
      self.events.append(answer)

  def _wait_for(self, method):
    while not any(e.get('method') == method for e in self.events):
      self.events.append(self._read())

  def open(self, path, width, dark=False, scripts=True):
    """Opens a file in a new page; its events are in self.events."""
    self._session = None
    self.events = []
    target = self.call('Target.createTarget', url='about:blank')['targetId']
    self._session = self.call('Target.attachToTarget', targetId=target,
                              flatten=True)['sessionId']
    for domain in ('Page', 'Runtime', 'Log', 'Network'):
      self.call(domain + '.enable')
    self.call('Emulation.setDeviceMetricsOverride', width=width, height=800,
              deviceScaleFactor=1, mobile=width < 600)
    self.call('Emulation.setEmulatedMedia', features=[
        {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}])
    self.call('Emulation.setScriptExecutionDisabled', value=not scripts)
    self.call('Page.navigate', url=pathlib.Path(path).as_uri())
    self._wait_for('Page.loadEventFired')

  def evaluate(self, expression):
    answer = self.call('Runtime.evaluate', expression=expression,
                       returnByValue=True)
    if 'exceptionDetails' in answer:
      raise RuntimeError(str(answer['exceptionDetails']))
    return answer['result'].get('value')

  def press(self, key, code):
    for kind in ('keyDown', 'keyUp'):
      self.call('Input.dispatchKeyEvent', type=kind, key=key, code=key,
                windowsVirtualKeyCode=code)

  def problems(self):
    """Console errors, exceptions, and requests but for the page itself."""
    found = []
    for event in self.events:
      method, params = event.get('method'), event.get('params', {})
      if method == 'Runtime.exceptionThrown':
        found.append(params['exceptionDetails'])
      elif (method == 'Runtime.consoleAPICalled' and
            params['type'] in ('error', 'warning', 'assert')):
        found.append(params)
      elif (method == 'Log.entryAdded' and
            params['entry']['level'] in ('error', 'warning')):
        found.append(params['entry'])
      elif method == 'Page.javascriptDialogOpening':
        found.append(params)
      elif (method == 'Network.requestWillBeSent' and
            not params['request']['url'].startswith(('file:', 'data:'))):
        found.append(params['request']['url'])
    return found

  def screenshot(self, name):
    if SCREENSHOTS is None:
      return
    width, height = self.evaluate(
        '[innerWidth, document.documentElement.scrollHeight]')
    # Chromium takes no picture higher than 16384 pixels.
    clip = {'x': 0, 'y': 0, 'width': width, 'height': min(height, 16000),
            'scale': 1}
    image = self.call('Page.captureScreenshot', captureBeyondViewport=True,
                      clip=clip)
    path = os.path.join(SCREENSHOTS, name + '.png')
    with open(path, 'wb') as file:
      file.write(base64.b64decode(image['data']))


@unittest.skipUnless(CHROMIUM, 'chromium is not installed')
class ReportInBrowserTest(unittest.TestCase):

  @classmethod
  def setUpClass(cls):
    root = os.environ.get('TEST_TMPDIR')
    cls.folder = tempfile.mkdtemp(dir=root)
    cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
    binary = pathlib.Path(os.environ.get('TEST_SRCDIR', 'bazel-bin'))
    if 'TEST_SRCDIR' in os.environ:
      binary /= os.environ['TEST_WORKSPACE']
    subprocess.run([binary / 'tools/report/write_example_report', cls.folder],
                   check=True)
    cls.page = os.path.join(cls.folder, 'report.html')
    cls.browser = Browser(cls.folder)
    cls.addClassCleanup(cls.browser.close)
    # One error if Chromium does not start, and not one for each test.
    cls.browser.call('Browser.getVersion')

  def count(self, selector):
    return self.browser.evaluate(
        f'document.querySelectorAll({json.dumps(selector)}).length')

  def open_all_details(self):
    self.browser.evaluate(
        'document.querySelectorAll("details").forEach((d) => d.open = true)')

  def test_every_claim_has_a_row(self):
    self.browser.open(self.page, 1280)
    self.assertEqual(self.count('tr[data-verdict]'), NUM_CLAIMS)
    self.assertEqual(self.count('section.paper'), NUM_PAPERS)
    self.assertEqual(self.count('section.paper svg.plot[aria-label] > title'),
                     self.count('section.paper svg.plot'))
    self.assertGreater(self.count('svg.plot') + self.count('.figures'), 0)

  def test_matrix_counts_what_the_tables_show(self):
    self.browser.open(self.page, 1280)
    self.assertEqual(self.count('#matrix-table tbody tr'), NUM_PAPERS)
    matrix = self.browser.evaluate("""
        Array.from(document.querySelectorAll('#matrix-table [data-count]')).map(
            (cell) => [cell.closest('tr').dataset.paper, cell.dataset.count,
                       Number(cell.textContent)])""")
    self.assertEqual(len(matrix), 5 * NUM_PAPERS)
    for paper, verdict, shown in matrix:
      self.assertEqual(
          shown,
          self.count(f'[data-paper="{paper}"] tr[data-verdict="{verdict}"]'),
          (paper, verdict))
    self.assertEqual(sum(shown for _, _, shown in matrix), NUM_CLAIMS)
    totals = self.browser.evaluate("""
        Array.from(document.querySelectorAll('[data-total]')).map(
            (e) => [e.dataset.total, Number(e.textContent)])""")
    for verdict, shown in totals:
      self.assertEqual(shown, sum(n for _, v, n in matrix if v == verdict))

  def test_no_console_error_and_no_request(self):
    for width in WIDTHS:
      for dark in (False, True):
        with self.subTest(width=width, dark=dark):
          self.browser.open(self.page, width, dark)
          self.open_all_details()
          self.assertEqual(self.browser.problems(), [])

  def test_text_that_tries_to_be_markup_stays_text(self):
    self.browser.open(self.page, 1280)
    self.assertEqual(
        self.browser.evaluate(
            'document.getElementById("title-example_markup").textContent'),
        HOSTILE_TITLE)
    self.assertEqual(self.count('script'), 1)
    self.assertEqual(self.count('main img, main b, main i'), 0)
    self.assertEqual(self.count('a[href^="javascript"]'), 0)

  def test_page_does_not_scroll_sideways(self):
    for width in WIDTHS:
      with self.subTest(width=width):
        self.browser.open(self.page, width)
        self.open_all_details()
        self.assertEqual(self.browser.evaluate('innerWidth'), width)
        self.assertLessEqual(
            self.browser.evaluate('document.documentElement.scrollWidth'),
            width)
        # What is cut off at the side can be reached with the keyboard.
        self.assertEqual(
            self.browser.evaluate("""
                Array.from(document.querySelectorAll('main *')).filter((e) => {
                  const box = e.getBoundingClientRect();
                  return box.right > innerWidth + 1 && box.width > 1 &&
                         !e.closest('.scroll[tabindex="0"]');
                }).map((e) => e.outerHTML.slice(0, 80))"""), [])

  def test_text_has_contrast_in_light_and_dark(self):
    backgrounds = set()
    for dark in (False, True):
      with self.subTest(dark=dark):
        self.browser.open(self.page, 1280, dark)
        self.open_all_details()
        found = self.browser.evaluate(CONTRAST_SCRIPT)
        self.assertGreater(found['count'], 10 * NUM_CLAIMS)
        self.assertGreaterEqual(found['lowest']['contrast'], 4.5, found)
        backgrounds.add(found['body'])
    self.assertEqual(len(backgrounds), 2)

  def test_filter_shows_what_matches(self):
    self.browser.open(self.page, 1280)
    visible = """Array.from(document.querySelectorAll('tr[data-verdict]'))
        .filter((row) => row.checkVisibility())"""
    self.browser.evaluate("""
        const form = document.getElementById('filter');
        form.elements.verdict.value = 'DIFFERS';
        form.dispatchEvent(new Event('input'));""")
    differs = self.count('tr[data-verdict="DIFFERS"]')
    self.assertGreater(differs, 0)
    self.assertEqual(
        self.browser.evaluate(visible + '.map((r) => r.dataset.verdict)'),
        ['DIFFERS'] * differs)
    self.assertEqual(
        self.browser.evaluate('document.getElementById("shown").value'),
        f'{differs} of {NUM_CLAIMS} claims shown')
    self.browser.evaluate("""
        form.elements.text.value = 'net-b3 flops';
        form.dispatchEvent(new Event('input'));""")
    self.assertEqual(self.browser.evaluate(visible + '.length'), 1)
    self.browser.evaluate('form.reset()')
    self.open_all_details()
    self.browser.evaluate('new Promise((done) => setTimeout(done, 50))')
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while (self.browser.evaluate(visible + '.length') != NUM_CLAIMS and
           time.monotonic() < deadline):
      time.sleep(0.05)
    self.assertEqual(self.browser.evaluate(visible + '.length'), NUM_CLAIMS)

  def test_works_without_scripts(self):
    self.browser.open(self.page, 1280, scripts=False)
    self.assertFalse(self.browser.evaluate(
        'document.getElementById("filter").checkVisibility()'))
    self.assertEqual(self.count('tr[data-verdict]:not([data-hidden])'),
                     NUM_CLAIMS)

  def test_keyboard_reaches_the_skip_link_first_and_what_scrolls(self):
    self.browser.open(self.page, 360)
    self.browser.press('Tab', 9)
    focused = self.browser.evaluate("""({
        text: document.activeElement.textContent,
        left: document.activeElement.getBoundingClientRect().left,
        outline: getComputedStyle(document.activeElement).outlineStyle})""")
    self.assertEqual(focused['text'], 'Skip to the results')
    self.assertGreaterEqual(focused['left'], 0)
    self.assertEqual(focused['outline'], 'solid')
    self.browser.press('Enter', 13)
    self.assertEqual(
        self.browser.evaluate('document.querySelectorAll(".scroll").length'),
        self.count('.scroll[tabindex="0"][aria-label]'))

  def test_structure(self):
    self.browser.open(self.page, 1280)
    self.assertEqual(self.browser.evaluate('document.documentElement.lang'),
                     'en')
    levels = self.browser.evaluate("""
        Array.from(document.querySelectorAll('h1, h2, h3, h4, h5, h6')).map(
            (h) => Number(h.tagName[1]))""")
    self.assertEqual(levels[0], 1)
    self.assertEqual(levels.count(1), 1)
    for before, after in zip(levels, levels[1:]):
      self.assertLessEqual(after, before + 1)
    self.assertEqual(self.count('table'), self.count('table > caption'))
    self.assertEqual(self.count('thead th'), self.count('thead th[scope="col"]'))
    self.assertEqual(
        self.browser.evaluate("""
            const ids = Array.from(document.querySelectorAll('[id]')).map(
                (e) => e.id);
            ids.length - new Set(ids).size"""), 0)
    # "#" alone is what a link of another scheme was made into.
    self.assertEqual(
        self.browser.evaluate("""
            Array.from(document.querySelectorAll('a[href^="#"]')).filter(
                (a) => a.hash && !document.getElementById(
                    decodeURIComponent(a.hash.slice(1)))).map(
                (a) => a.hash)"""), [])
    self.assertEqual(
        self.browser.evaluate("""
            Array.from(document.querySelectorAll('svg use')).filter(
                (u) => !document.querySelector(
                    u.getAttribute('xlink:href'))).length"""), 0)

  def test_screenshots(self):
    if SCREENSHOTS is None:
      self.skipTest('no folder given for screenshots')
    for width in WIDTHS:
      for dark in (False, True):
        self.browser.open(self.page, width, dark)
        name = f'{width}-{"dark" if dark else "light"}'
        self.browser.screenshot(name)
        self.open_all_details()
        self.browser.screenshot(name + '-open')


if __name__ == '__main__':
  if not CHROMIUM:
    print('SKIPPED: chromium is not installed (Debian: apt install chromium)')
    sys.exit(0)
  if len(sys.argv) > 1 and os.path.isdir(sys.argv[1]):
    SCREENSHOTS = sys.argv.pop(1)
  unittest.main(verbosity=2)
