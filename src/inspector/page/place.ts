// Addresses: which view is shown, with which filter, columns and time. An address is the whole state of the page, ids
// and filters only, so that a link can be handed on.

/** Where the address leads: `#/calls/ID?f=status:5xx` is the view `calls`, its rest `['ID']` and the parameters. */
export interface Place {
  readonly view: string;
  readonly rest: readonly string[];
  readonly params: URLSearchParams;
}

/** Reads the fragment of an address. `#/calls/ID` is one call. */
export function parsePlace(hash: string): Place {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  const [first = '', ...rest] = path.split('/').filter((part) => part !== '');
  const view = first === 'calls' && rest.length > 0 ? 'call' : first;
  return { view, rest: rest.map(decoded), params: new URLSearchParams(query) };
}

/** The address of a view. Parameters that are empty are left out. */
export function hashOf(view: string, params: Readonly<Record<string, string | null>> = {}, ...rest: string[]): string {
  const path = [view === 'call' ? 'calls' : view, ...rest.map(encodeURIComponent)].join('/');
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) if (value !== null && value !== '') query.set(name, value);
  // Filters stay readable.
  const text = query.toString().replace(/%(?:3A|2F|2C|2A|3E|3C)/g, decodeURIComponent);
  return `#/${path}${text === '' ? '' : `?${text}`}`;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
