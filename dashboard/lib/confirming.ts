/** What may be asked for once more before a call: the key of the login. */

type Asker = () => Promise<boolean>;

let asker: Asker | null = null;
let asking: Promise<boolean> | null = null;

/** The page that can ask; null when it is gone. */
export function setAsker(next: Asker | null): void {
  asker = next;
}

/** Whether the reader showed the key. Calls that wait at the same time are answered by one question. */
export function askAgain(): Promise<boolean> {
  if (!asker) return Promise.resolve(false);
  asking ??= asker().finally(() => {
    asking = null;
  });
  return asking;
}
