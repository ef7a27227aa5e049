// The help on every setting, made from the table of options.

import { SECTIONS } from '../config/table.ts';
import { columns, page, wrap } from './help.ts';

/** `gcg help settings`: every option of the table. */
export function settingsHelp(): string {
  const sections = SECTIONS.flatMap(({ name, isNamed, doc, rows }) => {
    const options = rows.map(
      (option) => [option.key, `${option.doc}${option.default === null ? '' : ` (${option.default})`}`] as const,
    );
    return [
      isNamed && name !== 'credential' ? `[${name}.NAME]` : `[${name}]`,
      ...wrap(doc, '  '),
      ...columns(options),
      '',
    ];
  });
  return page([
    'Settings of the configuration file. Each can also be set in the environment',
    '(server.listen is GCG_SERVER_LISTEN, client_id of [credential.crm] is',
    'GCG_CREDENTIAL_CRM_CLIENT_ID) and, unless it is a secret, by',
    '--set section.key=value. A secret X can be in a file (X_file) or in another',
    'variable (X_env). Defaults are in brackets.',
    '',
    ...sections,
  ]);
}
