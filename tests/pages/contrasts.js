// Text whose colour is too near that of its background, as [text, ratio].
(() => {
  const LEAST = 4.5; // by the Web Content Accessibility Guidelines, level AA
  const parse = text => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const linear = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = c => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || !parent.checkVisibility() || parent.closest("style, .skip")) continue;
    const chain = [];
    for (let node = parent; node; node = node.parentElement) chain.unshift(getComputedStyle(node));
    let behind = [255, 255, 255, 1], opacity = 1;
    for (const style of chain) {
      behind = over(parse(style.backgroundColor), behind);
      opacity *= Number(style.opacity);
    }
    const ink = parse(chain.at(-1).color);
    const lights = [light(over([...ink.slice(0, 3), ink[3] * opacity], behind)), light(behind)];
    const ratio = (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05);
    if (ratio < LEAST) faint.push([text, ratio]);
  }
  return faint;
})()
