// A call as code of the platform's SDKs, sent to the gateway by the settings that docs/sdk-recipes.md has. Pure. The
// method of an SDK is the operation's id, its class the operation's first tag. Where a method's arguments hang on more
// than is known here, the call is written by what the SDK's own methods are made of.

import { type CopiedCall, type CopyTarget, mergedHeaders, missingIn, pathOf, quoted } from './copy-as.ts';
import { repeatedHeaders } from './repeat.ts';

/** The operation that a call is. */
export interface CopiedOperation {
  /** The operationId. */
  readonly id: string;
  /** `UsersApi` is the class of `Users`. */
  readonly tag: string;
  /** The template of its path. */
  readonly path: string;
}

export type SdkForm = 'javascript' | 'python' | 'java' | 'dotnet' | 'go';

export const SDK_FORMS: readonly (readonly [form: SdkForm, name: string])[] = [
  ['javascript', 'JavaScript SDK'],
  ['python', 'Python SDK'],
  ['java', 'Java SDK'],
  ['dotnet', '.NET SDK'],
  ['go', 'Go SDK'],
];

/** The code; null where the call cannot be written as one of this operation. */
export function copyAsSdk(
  form: SdkForm,
  call: CopiedCall & { readonly client?: string | undefined },
  target: CopyTarget,
  operation: CopiedOperation,
): string | null {
  const request = requestOf(call, target, operation);
  if (request === null) return null;
  const mark = form === 'python' ? '# ' : '// ';
  return (
    missingIn(call)
      .map((text) => `${mark}${text}\n`)
      .join('') + WRITERS[form](request)
  );
}

interface Request {
  readonly method: string;
  readonly base: URL;
  readonly id: string;
  readonly api: string;
  readonly template: string;
  /** With its query, as it was sent. */
  readonly path: string;
  readonly parameters: readonly (readonly [name: string, value: string])[];
  readonly query: readonly (readonly [name: string, values: readonly string[]])[];
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string | null;
  readonly client: string;
  readonly needsKey: boolean;
}

function requestOf(
  { method, path: sent, headers, body, client = 'local' }: CopiedCall & { readonly client?: string | undefined },
  { base, needsKey }: CopyTarget,
  { id, tag, path: template }: CopiedOperation,
): Request | null {
  const path = pathOf(sent);
  const api = path.indexOf('/api/v2/');
  const [plain = '', query = ''] = path.slice(api).split(/\?(.*)/s);
  const parameters = parametersOf(template, plain);
  if (api < 0 || parameters === null || !/^\w+$/.test(id)) return null;
  const values = new Map<string, string[]>();
  for (const [name, value] of new URLSearchParams(query)) values.set(name, [...(values.get(name) ?? []), value]);
  return {
    ...{
      method,
      id,
      api: `${tag.replaceAll(/\W/g, '')}Api`,
      template,
      path: path.slice(api),
      parameters,
      client,
      needsKey,
    },
    // A credential before the path is part of the gateway's address.
    base: new URL(base + path.slice(0, api)),
    query: [...values],
    headers: mergedHeaders(repeatedHeaders(headers)).filter(([name]) => !SET_BY_SDK.test(name)),
    body: body === null || body.trim() === '' ? null : body,
  };
}

/** What the SDKs set by themselves, or would not take. */
const SET_BY_SDK = /^(?:accept|accept-encoding|accept-language|content-type|user-agent|purecloud-sdk)$/i;

/** The parts of a path that stand for parameters, decoded; null where it is no path of the template. */
function parametersOf(template: string, path: string): [string, string][] | null {
  const wanted = template.split('/');
  const found = path.split('/');
  if (wanted.length !== found.length) return null;
  try {
    return wanted.flatMap((part, at): [string, string][] =>
      /^\{.*\}$/.test(part) ? [[part.slice(1, -1), decodeURIComponent(found[at] as string)]] : [],
    );
  } catch {
    // Escapes that are no UTF-8.
    return null;
  }
}

const WRITERS: Readonly<Record<SdkForm, (request: Request) => string>> = {
  javascript: javascriptOf,
  python: pythonOf,
  java: javaOf,
  dotnet: dotnetOf,
  go: goOf,
};

const portOf = ({ protocol, port }: URL) => port || (protocol === 'https:' ? '443' : '80');
const addressOf = ({ base }: Request) => base.href.replace(/\/$/, '');
const schemeOf = ({ protocol }: URL) => protocol.slice(0, -1);

function javascriptOf(request: Request): string {
  const { base, api, id, parameters, query, headers, body, method, template, path, client, needsKey } = request;
  const prefix = base.pathname.replace(/^\/|\/$/g, '');
  const paths =
    prefix === ''
      ? ''
      : `, path_params_login: ${quoted(`${prefix}/login`)}, path_params_api: ${quoted(`${prefix}/api`)}`;
  const login = needsKey
    ? `await client.loginClientCredentialsGrant(${quoted(client)}, process.env.GCG_KEY);\n`
    : "await client.loginClientCredentialsGrant('local', 'local');\n";
  const start =
    "import platformClient from 'purecloud-platform-client-v2';\n\nconst client = platformClient.ApiClient.instance;\n" +
    'client.config.live_reload_config = false;\n' +
    `client.setGateway({ host: ${quoted(base.hostname)}, protocol: ${quoted(schemeOf(base))}, port: ${portOf(base)}${paths} });\n${login}\n`;
  const isSimple = query.length === 0 && body === null && headers.length === 0;
  const call = isSimple
    ? `await new platformClient.${api}().${id}(${parameters.map(([, value]) => quoted(value)).join(', ')})`
    : `await client.callApi(${[
        // As it was sent: the SDK would write lists in another way.
        quoted(template + path.slice(path.indexOf('?') < 0 ? path.length : path.indexOf('?'))),
        quoted(method),
        objectOf(parameters.map(([name, value]) => [name, quoted(value)])),
        '{}',
        objectOf(headers.map(([name, value]) => [name, quoted(value)])),
        '{}',
        body === null ? 'null' : (literalOf(body) ?? quoted(body)),
        "['PureCloud OAuth'], ['application/json'], ['application/json']",
      ]
        .map((argument) => `\n  ${argument},`)
        .join('')}\n)`;
  const named = isSimple ? '' : `// What ${api}.${id} calls, by all that was sent.\n`;
  return `${start}${named}console.log(${call});\n`;
}

/** What is no name of an argument in Python. */
const PYTHON_WORDS =
  /^(?:and|as|assert|async|await|break|class|continue|def|del|elif|else|except|finally|for|from|global|if|import|in|is|lambda|nonlocal|not|or|pass|raise|return|try|while|with|yield|True|False|None)$/;

function pythonOf(request: Request): string {
  const { api, id, parameters, query, body, client, needsKey } = request;
  const named = [...parameters.map(([name, value]) => [name, quoted(value)] as const), ...queryTexts(request)];
  if (body !== null) named.push(['body', `json.loads(${quoted(body)})`]);
  const isNameable =
    named.every(([name]) => /^[A-Za-z]\w*$/.test(name) && !PYTHON_WORDS.test(name)) &&
    new Set(named.map(([name]) => name)).size === named.length;
  const login = needsKey
    ? `get_client_credentials_token(${quoted(client)}, os.environ["GCG_KEY"])`
    : 'get_client_credentials_token("local", "local")';
  const start =
    `import json\nimport os\n\nimport PureCloudPlatformClientV2\n\nPureCloudPlatformClientV2.configuration.host = ${quoted(addressOf(request))}\n` +
    `client = PureCloudPlatformClientV2.api_client.ApiClient().${login}\n\n`;
  if (isNameable) {
    const all = named.map(([name, value]) => `${snakeCase(name)}=${value}`).join(', ');
    return `${start}print(PureCloudPlatformClientV2.${api}(client).${snakeCase(id)}(${all}))\n`;
  }
  const rest = [
    `{${parameters.map(([name, value]) => `${quoted(name)}: ${quoted(value)}`).join(', ')}}`,
    `{${query.map(([name, values]) => `${quoted(name)}: ${listOf(values)}`).join(', ')}}`,
  ];
  const sent = body === null ? '' : `, body=json.loads(${quoted(body)})`;
  return (
    `${start}print(client.call_api(${quoted(request.template)}, ${quoted(request.method)}, ${rest.join(', ')}${sent}, ` +
    'response_type="object", auth_settings=["PureCloud OAuth"]))\n'
  );
}

function javaOf(request: Request): string {
  const { base, api, id, method, template, parameters, query, body, client, needsKey } = request;
  const login = needsKey ? `${quoted(client)}, System.getenv("GCG_KEY")` : '"local", "local"';
  const prefix = base.pathname.replace(/^\/|\/$/g, '');
  const paths = prefix === '' ? '"", ""' : `${quoted(`${prefix}/login`)}, ${quoted(`${prefix}/api`)}`;
  const steps = [
    ...parameters.map(([name, value]) => `.withPathParameter(${quoted(name)}, ${quoted(value)})`),
    ...query.map(([name, values]) =>
      values.length === 1
        ? `.withQueryParameters(${quoted(name)}, "", ${quoted(values[0] as string)})`
        : `.withQueryParameters(${quoted(name)}, "multi", java.util.List.of(${values.map(quoted).join(', ')}))`,
    ),
    ...(body === null
      ? []
      : [`.withBody(new com.fasterxml.jackson.databind.ObjectMapper().readTree(${quoted(body)}))`]),
    '.withContentTypes("application/json")',
    '.withAccepts("application/json")',
    '.withAuthNames("PureCloud OAuth")',
  ];
  return (
    `ApiClient client = ApiClient.Builder.standard().withGateway(${quoted(base.hostname)}, ${quoted(schemeOf(base))}, ${portOf(base)}, ${paths}).build();\n` +
    `client.authorizeClientCredentials(${login});\n\n// What ${api}.${id} calls, by all that was sent.\n` +
    `var request = ApiRequestBuilder.create(${quoted(method)}, ${quoted(template)})\n${steps.map((step) => `    ${step}\n`).join('')}    .build();\n` +
    'System.out.println(client.invoke(request, new com.fasterxml.jackson.core.type.TypeReference<Object>() {}).getRawBody());\n'
  );
}

function dotnetOf(request: Request): string {
  const { api, id, parameters, body, client, needsKey } = request;
  const login = needsKey ? `${quoted(client)}, Environment.GetEnvironmentVariable("GCG_KEY")` : '"local", "local"';
  const named = [
    ...parameters.map(([name, value]) => [name, quoted(value)] as const),
    ...queryTexts(request, 'new List<string> {', '}'),
  ];
  const all = named.map(([name, value]) => `${name.replaceAll(/\W/g, '')}: ${value}`);
  if (body !== null) all.push(`body: Newtonsoft.Json.JsonConvert.DeserializeObject<TYPE>(${quoted(body)})`);
  const notes = body === null ? '' : '// TYPE is the class of its body in the SDK.\n';
  return (
    `var client = Configuration.Default.ApiClient;\nclient.setBasePath(${quoted(addressOf(request))});\n` +
    `Configuration.Default.AccessToken = client.PostToken(${login}).AccessToken;\n\n${notes}` +
    `Console.WriteLine(new ${api}().${capital(id)}(${all.join(', ')}).ToJson());\n`
  );
}

function goOf(request: Request): string {
  const { api, id, method, path, headers, body, client, needsKey } = request;
  const login = needsKey ? `${quoted(client)}, os.Getenv("GCG_KEY")` : '"local", "local"';
  const lines = [
    ['Accept', 'application/json'],
    ...(body === null ? [] : [['Content-Type', 'application/json']]),
    ...headers,
  ];
  const all = lines.map(([name = '', value = '']) => `${quoted(name)}: ${quoted(value)}`).join(', ');
  return (
    `config := platformclientv2.GetDefaultConfiguration()\nconfig.BasePath = ${quoted(addressOf(request))}\n` +
    `if err := config.AuthorizeClientCredentials(${login}); err != nil {\n\tlog.Fatal(err)\n}\n\n` +
    `// ${api}.${capital(id)}, by all that was sent.\n` +
    `request, err := http.NewRequest(${quoted(method)}, config.BasePath+${quoted(path)}, strings.NewReader(${quoted(body ?? '')}))\n` +
    'if err != nil {\n\tlog.Fatal(err)\n}\n' +
    `for name, value := range map[string]string{${all}, "Authorization": "Bearer " + config.AccessToken} {\n\trequest.Header.Set(name, value)\n}\n` +
    'response, err := http.DefaultClient.Do(request)\nif err != nil {\n\tlog.Fatal(err)\n}\nfmt.Println(response.Status)\n'
  );
}

/** Query parameters as arguments: numbers and truth values as such, since that is what the SDKs declare. */
function queryTexts({ query }: Request, open = '[', close = ']'): (readonly [string, string])[] {
  return query.map(([name, values]) => [
    name,
    values.length > 1 ? `${open}${values.map(quoted).join(', ')}${close}` : scalarOf(values[0] as string),
  ]);
}

function scalarOf(value: string): string {
  return /^(?:0|[1-9]\d{0,8})$/.test(value) ? value : quoted(value);
}

/** A body of JSON as a literal; null for any other. */
function literalOf(body: string): string | null {
  try {
    JSON.parse(body);
    return `JSON.parse(${quoted(body)})`;
  } catch {
    return null;
  }
}

function objectOf(entries: readonly (readonly [name: string, value: string])[]): string {
  return `{${entries.map(([name, value]) => ` ${quoted(name)}: ${value}`).join(',')}${entries.length === 0 ? '' : ' '}}`;
}

function listOf(values: readonly string[]): string {
  return `[${values.map(quoted).join(', ')}]`;
}

function snakeCase(name: string): string {
  return name.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase();
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
