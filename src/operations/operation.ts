// What the platform says of one of its operations.

/**
 * What an operation declares of permissions: none, one of a list, all of a list, or nothing that is known. Declared is
 * a floor: `none` does not mean that the platform checks nothing.
 */
export type Requirement = 'none' | 'any' | 'all' | 'unknown';

/** One operation of the platform, as it publishes it. */
export interface Operation {
  /** The platform's operationId, which is the method name in its SDKs. Unique; its case counts. */
  readonly id: string;
  readonly method: string;
  /** The template of its path: `/api/v2/users/{userId}`. */
  readonly path: string;
  readonly tags: readonly string[];
  readonly requires: Requirement;
  /** `domain:entity:action`; a few of the platform's are one word. Empty for `none` and `unknown`. */
  readonly permissions: readonly string[];
  readonly hasBody: boolean;
  readonly isDeprecated: boolean;
  /** It may change at any time without notice. */
  readonly isPreview: boolean;
}
