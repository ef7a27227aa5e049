// The simulated organisation and its people: what the API's users and organisation routes read and write.
// Invented persons on example domains; it holds no passwords, because the simulation asks for none.

import { createUuid, type RandomSource } from './random.ts';

/** The organisation. `shortName` is what `orgName` and `org` name in logins; both it and `name` are accepted. */
export interface SandboxOrganization {
  id: string;
  name: string;
  shortName: string;
}

/** A person. `version` counts changes, as the platform's does. */
export interface SandboxUser {
  id: string;
  name: string;
  email: string;
  title: string;
  department: string;
  state: 'active' | 'inactive' | 'deleted';
  version: number;
}

export const DEFAULT_ORGANIZATION: SandboxOrganization = {
  id: '0f5e2b6a-0000-4000-8000-00000000000a',
  name: 'Simulated Organization',
  shortName: 'simulated-org',
};

/** Enough for an application's own test data; beyond it POST is refused. */
const MAX_USERS = 20_000;

const NAMES = [
  'Ada Lindqvist',
  'Bruno Okafor',
  'Chiara Mori',
  'Dmitri Alves',
  'Elif Kaya',
  'Farid Haddad',
  'Grace Nakamura',
  'Hanna Virtanen',
  'Ivo Petrov',
  'Joana Teixeira',
  'Kwame Mensah',
  'Lucía Ortega',
];
const TITLES = ['Agent', 'Supervisor', 'Administrator', 'Analyst'];

/** `count` invented users with stable ids, so that examples can name them; the first is Ada Lindqvist. */
export function createUsers(count: number): SandboxUser[] {
  return Array.from({ length: count }, (_, index) => {
    const round = Math.floor(index / NAMES.length);
    const name = `${NAMES[index % NAMES.length]}${round > 0 ? ` ${round + 1}` : ''}`;
    const login = name.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase().replaceAll(' ', '.');
    return {
      id: `a11ce000-0000-4000-8000-${String(index + 1).padStart(12, '0')}`,
      name,
      email: `${login}@simulated-org.example`,
      title: TITLES[index % TITLES.length] ?? 'Agent',
      department: 'Customer Care',
      state: 'active',
      version: 1,
    };
  });
}

/** The people of the organisation, in order of creation. */
export interface Directory {
  readonly organization: SandboxOrganization;
  list(): SandboxUser[];
  find(id: string): SandboxUser | undefined;
  findByEmail(email: string): SandboxUser | undefined;
  /** `undefined` when the directory is full. */
  add(user: Pick<SandboxUser, 'name' | 'email' | 'title' | 'department'>): SandboxUser | undefined;
}

export function createDirectory(
  organization: SandboxOrganization,
  users: readonly SandboxUser[],
  random: RandomSource,
): Directory {
  const byId = new Map(users.map((user) => [user.id, { ...user }]));
  return {
    organization,
    list: () => [...byId.values()],
    find: (id) => byId.get(id),
    findByEmail: (email) => [...byId.values()].find((user) => user.email.toLowerCase() === email.toLowerCase()),
    add(fields) {
      if (byId.size >= MAX_USERS) return undefined;
      const user: SandboxUser = { id: createUuid(random), ...fields, state: 'active', version: 1 };
      byId.set(user.id, user);
      return user;
    },
  };
}
