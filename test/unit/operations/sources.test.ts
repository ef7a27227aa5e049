// Where the table of operations is made from: swagger documents of the platform, and JSON lines. The SDK as a source is
// tried where the table is held against it.

import t from 'tap';
import {
  operationsOfLines,
  operationsOfSdk,
  operationsOfSwagger,
  type SwaggerDocument,
} from '../../../scripts/operations.ts';
import { formatOperations, operationTable } from '../../../src/operations/table.ts';

const swagger: SwaggerDocument = {
  paths: {
    '/api/v2/users': {
      get: {
        operationId: 'getUsers',
        tags: ['Users'],
        'x-inin-requires-permissions': { type: 'ANY', permissions: ['directory:user:view'] },
        parameters: [{ in: 'query' }],
      },
      post: {
        operationId: 'createUser',
        'x-purecloud-method-name': 'postUsers',
        tags: ['Users', 'Telephony Providers Edge', 'Speech & Text analytics'],
        'x-inin-requires-permissions': {
          type: 'ALL',
          permissions: ['directory:user:add', 'directory:user:add', 'a:b:c'],
        },
        parameters: [{ in: 'body' }],
        deprecated: true,
        'x-genesys-preview': true,
      },
      parameters: {},
    },
    '/api/v2/tokens/me': { head: { operationId: 'headTokensMe' } },
    '/api/v2/oddity': {
      put: {
        operationId: 'putOddity',
        'x-inin-requires-permissions': { type: 'ANY', permissions: ['They are enforced by the backend'] },
        parameters: [{ in: 'formData' }],
      },
    },
  },
};

t.test('a swagger document becomes rows', async (t) => {
  t.same(formatOperations(operationsOfSwagger(swagger)).split('\n'), [
    'PUT\t/api/v2/oddity\tputOddity\t\tunknown',
    'HEAD\t/api/v2/tokens/me\theadTokensMe\t\tnone',
    'GET\t/api/v2/users\tgetUsers\tUsers\tany directory:user:view',
    'POST\t/api/v2/users\tpostUsers\tSpeechTextAnalytics,TelephonyProvidersEdge,Users\tall directory:user:add,a:b:c\t' +
      'body,deprecated,preview',
    '',
  ]);
});

t.test('what is no swagger document of the platform is refused', async (t) => {
  t.throws(() => operationsOfSwagger({ paths: {} }), /no operations/);
  t.throws(() => operationsOfSwagger({} as SwaggerDocument), /no operations/);
  t.throws(() => operationsOfSwagger({ paths: { '/x': { get: {} } } }), /GET \/x has no operationId/);
});

t.test('JSON lines become rows', async (t) => {
  const lines = [
    '{"method":"GET","path":"/api/v2/b","operationId":"getB","tags":["B","A"],"requires":"none"}',
    '',
    '{"method":"POST","path":"/api/v2/a","operationId":"postA","tags":[],"requires":null,"body":true,"preview":true}',
  ];
  t.same(formatOperations(operationsOfLines(lines.join('\n'))).split('\n'), [
    'POST\t/api/v2/a\tpostA\t\tunknown\tbody,preview',
    'GET\t/api/v2/b\tgetB\tA,B\tnone',
    '',
  ]);
  t.throws(() => operationsOfLines('{'), SyntaxError);
});

t.test('without knowledge of permissions the SDK gives all operations, their permissions unknown', async (t) => {
  const operations = operationsOfSdk([]);
  t.equal(operations.length, operationTable().operations.length);
  t.ok(operations.every(({ requires, permissions }) => requires === 'unknown' && permissions.length === 0));
});
