"""What people need who do not see a page, or not well: names, landmarks, an order of headings, and contrast (WCAG 2.1 AA)."""

SCRIPT = r"""
const faults = [], seen = each => each.getClientRects().length && each.checkVisibility({visibilityProperty: true, contentVisibilityAuto: true});
const all = what => [...document.querySelectorAll(what)].filter(each => seen(each) && !each.closest('[aria-hidden=true]'));
const say = (what, each) => faults.push(what + ': ' + each.outerHTML.slice(0, 160));
const label = each => (each.getAttribute('aria-label') || each.title || each.labels && [...each.labels].map(own => own.textContent).join('') ||
                       each.textContent || '').trim();
if (!document.documentElement.lang) faults.push('no language');
if (!document.title.trim()) faults.push('no title');
for (const name of ['main', 'h1']) if (all(name).length != 1) faults.push(all(name).length + ' of ' + name);
for (const each of all('input:not([type=hidden]), select, textarea, button, a[href], summary, iframe')) if (!label(each)) say('no name', each);
for (const each of all('nav, [role=toolbar], [role=search]')) if (!each.getAttribute('aria-label') && each.localName == 'nav') say('no name', each);
for (const each of document.querySelectorAll('img:not([alt])')) say('no alt', each);
const ids = [...document.querySelectorAll('[id]')].map(each => each.id);
ids.filter((id, at) => ids.indexOf(id) != at).forEach(id => faults.push('twice: ' + id));
for (const each of all('[tabindex]')) if (each.tabIndex > 0) say('order of its own', each);
for (const each of all('ul, ol')) for (const child of each.children) if (child.localName != 'li') say('in a list', child);
// Each colour over what lies under it.
const part = text => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
const light = ([r, g, b]) => { const [x, y, z] = [r, g, b].map(c => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4); return .2126 * x + .7152 * y + .0722 * z; };
const ground = each => { for (; each; each = each.parentElement) { const colour = part(getComputedStyle(each).backgroundColor); if (colour[3] == 1) return colour; } return part(matchMedia('(prefers-color-scheme: dark)').matches ? '18 18 18' : '255 255 255'); };
for (const each of all('body *')) {
  if (![...each.childNodes].some(child => child.nodeType == 3 && child.data.trim()) || each.disabled) continue;
  const style = getComputedStyle(each), [a, b] = [light(part(style.color)), light(ground(each))].sort((x, y) => y - x);
  const big = parseFloat(style.fontSize) >= 24 || parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700;
  if ((a + .05) / (b + .05) < (big ? 3 : 4.5)) say('contrast ' + ((a + .05) / (b + .05)).toFixed(2), each);
}
// What a finger has to hit (WCAG 2.2 §2.5.8), but for links in lines of text.
if (innerWidth < 500) for (const each of all('button, select, input:not([type=checkbox]):not([type=file]), .button')) {
  const at = each.getBoundingClientRect();
  if (at.height < 24) say('small ' + at.height, each);
}
// Nothing is cut off at the side, unless it says so by three dots or scrolls.
for (const each of all('button, .button, h1, dd, label, p, summary, td')) if (each.scrollWidth > each.clientWidth + 1 && each.clientWidth && getComputedStyle(each).textOverflow != 'ellipsis' && getComputedStyle(each).display != 'inline') say('cut off', each);
// Nothing that is pressed lies under something else that is.
const pressed = all('main button, main a, main input, main select, header a, header button, header input');
for (const each of pressed) {
  const at = each.getBoundingClientRect(), x = at.left + Math.min(at.width / 2, 20), y = at.top + at.height / 2;
  if (x < 0 || y < 0 || x >= innerWidth || y >= innerHeight) continue;
  const top = document.elementFromPoint(x, y);
  if (top && top != each && !each.contains(top) && !top.contains(each) && pressed.includes(top)) say('lies under ' + top.outerHTML.slice(0, 80), each);
}
return faults;
"""


def faults(browser):
    """What is wrong with the page that is shown, in words."""
    return browser.run(SCRIPT)
