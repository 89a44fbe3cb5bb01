/** A finding for people. */
import type { Finding } from '../channel/index.ts';

export function formatFinding(finding: Finding): string {
  const { rule, what, channel, subject, history, firstSite, secondSite, advice } = finding;
  const lines = [`${rule}: ${what}`, `  channel   ${channel}`];
  if (subject !== '') lines.push(`  subject   ${subject}`);
  for (const { atMs, what: step, site } of history) {
    const where = site === null ? '' : `  ${site.split('\n')[0]}`;
    lines.push(`  ${`${atMs.toFixed(1)} ms`.padStart(12)}  ${step}${where}`);
  }
  if (firstSite !== null) lines.push(`  first     ${indented(firstSite)}`);
  if (secondSite !== null) lines.push(`  second    ${indented(secondSite)}`);
  lines.push(`  do        ${advice}`);
  return lines.join('\n');
}

function indented(site: string): string {
  return site.split('\n').join('\n            ');
}
