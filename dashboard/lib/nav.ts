/** The one place that knows the router, so that another one may take its place. */

export { default as dynamic } from "next/dynamic";
export { default as Link } from "next/link";
export { usePathname, useRouter, useSearchParams } from "next/navigation";

export const BASE_PATH = process.env.NEXT_PUBLIC_BASE_PATH ?? "";

/** The page's own path and query without the base path: the router puts that in front by itself. */
export function here(): string {
  const { pathname, search } = window.location;
  const own = BASE_PATH && pathname.startsWith(BASE_PATH) ? pathname.slice(BASE_PATH.length) : pathname;
  return `${own || "/"}${search}`;
}

/** Where to go after the login: a path of ours, or the first page. Never another site. */
export function safeNext(wanted: string | null): string {
  return wanted && /^\/(?![/\\])/.test(wanted) ? wanted : "/dashboard/";
}
