"use client";

/** Charts are loaded apart from their pages: figures and tables are there before them. */
import { dynamic } from "@/lib/nav";
import { Skeleton } from "../states";

const waiting = () => <Skeleton className="h-72" />;

export const Lines = dynamic(() => import("./lines"), { ssr: false, loading: waiting });
export const Bars = dynamic(() => import("./bars"), { ssr: false, loading: waiting });
export const Shares = dynamic(() => import("./shares"), { ssr: false, loading: waiting });
export const Dots = dynamic(() => import("./scatter"), { ssr: false, loading: waiting });
