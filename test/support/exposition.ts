/**
 * Prometheus' text format 0.0.4, read strictly: every family has its HELP, its TYPE and then its samples, no series
 * comes twice, and names say what they are (prometheus.io/docs/practices/naming).
 * @returns the value of each series, as it is written: `name{label="value"}`
 */
export function readExposition(text: string): Map<string, number> {
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  const series = new Map<string, number>();
  const families = new Set<string>();
  const blocks = text.split(/^(?=# HELP )/m);
  for (const block of blocks) {
    const [help = '', type = '', ...samples] = block.trimEnd().split('\n');
    const [, name = ''] = /^# HELP ([a-z_]+) [^\\]+$/.exec(help) ?? [];
    const [, kind] = new RegExp(`^# TYPE ${name} (counter|gauge)$`).exec(type) ?? [];
    if (name === '' || kind === undefined || families.has(name)) throw new Error(`no family: ${block}`);
    if ((kind === 'counter') !== name.endsWith('_total'))
      throw new Error(`${name}: not the name of a ${kind}`);
    if (samples.length === 0) throw new Error(`${name}: no sample`);
    families.add(name);
    for (const line of samples) {
      const [, key = '', own, value = ''] =
        /^(([a-z_]+)(?:\{[a-z_]+="[^"\\]*"(?:,[a-z_]+="[^"\\]*")*\})?) (\d+(?:\.\d+)?(?:e\+\d+)?)$/.exec(
          line,
        ) ?? [];
      if (own !== name || series.has(key)) throw new Error(`no sample of ${name}: ${line}`);
      series.set(key, Number(value));
    }
  }
  return series;
}
